-- A server and a client that say who they see, for specs of networks:
--
--     lua5.4 spec/traffic.lua serve PROTOCOL ADDRESS PORT [ANSWER]
--         prints "ready", then answers each client with ANSWER and its address
--     lua5.4 spec/traffic.lua ask PROTOCOL ADDRESS PORT [FROM-PORT]
--         prints the answer, or why there is none: waits for long, since the first
--         packets in v6 may be lost while link-local addresses are new
--     lua5.4 spec/traffic.lua try PROTOCOL ADDRESS PORT [FROM-PORT]
--         the same where no answer is expected: "timeout" after a second

local uv = require "luv"

local what, protocol, address, port, extra = table.unpack(arg)
port = math.tointeger(tonumber(port))

local function numeric(peer) return (peer.ip:gsub("^::ffff:", "")) end

local function serve_tcp()
  local server = uv.new_tcp()
  assert(server:bind(address, port))
  assert(server:listen(16, function()
    local client = uv.new_tcp()
    server:accept(client)
    client:write((extra or "") .. " " .. numeric(client:getpeername()), function()
      client:shutdown(function() client:close() end)
    end)
  end))
end

local function serve_udp()
  local server = uv.new_udp()
  assert(server:bind(address, port))
  server:recv_start(function(_, data, peer)
    if data then server:send((extra or "") .. " " .. numeric(peer), peer.ip, peer.port) end
  end)
end

local function done(text)
  print(text)
  os.exit(true)
end

local function patience()
  local timer = uv.new_timer()
  timer:start(what == "try" and 1000 or 10000, 0, function() done "timeout" end)
end

local function ask_tcp()
  local client = uv.new_tcp()
  client:connect(address, port, function(err)
    if err then done(err) end
    client:read_start(function(why, data)
      done(why or data or "closed")
    end)
  end)
end

local function ask_udp()
  local client = uv.new_udp()
  if extra then assert(client:bind(address:find ":" and "::" or "0.0.0.0", tonumber(extra))) end
  assert(client:connect(address, port))
  client:recv_start(function(err, data)
    if err or data then done(err or data) end
  end)
  local again = uv.new_timer()
  again:start(0, 300, function() client:send("hello", nil, nil, function() end) end)
end

if what == "serve" then
  if protocol == "tcp" then serve_tcp() else serve_udp() end
  io.stdout:write "ready\n"
  io.stdout:flush()
else
  patience()
  if protocol == "tcp" then ask_tcp() else ask_udp() end
end
uv.run()
