--- Undoing what was written into somebody's file: it says what it said before.
--
-- `{ path, dev, ino, old, new }`. The file is written in place, for who has it
-- mounted sees that. Killed in the middle, the beginning is new and the rest
-- old; anything else was written by somebody after us, and stays.
--
-- @internal nsbox.undo.content

local fd = require "nsbox.sys.fd"
local undo = require "nsbox.undo"

local CHUNK <const> = 65536

local M = { phase = 4, lasts = true }

local function read(handle)
  local pieces = {}
  while true do
    local data, message, errno = handle:read(CHUNK)
    if not data then
      return not message and table.concat(pieces) or nil, message, errno
    end
    pieces[#pieces + 1] = data
  end
end

--- Writes a file in place: who has it open, or mounted, sees the new text.
-- @tparam userdata handle open for writing, at its beginning
-- @tparam string text
-- @treturn ?boolean true
-- @return[2] nil, message, errno
function M.write(handle, text)
  local n, message, errno = handle:write(text)
  if text ~= "" and n ~= #text then
    return nil, message or "No space left on device", errno or 28
  end
  return handle:truncate(#text)
end

local function common(a, b)
  local n = math.min(#a, #b)
  for i = 1, n do
    if a:byte(i) ~= b:byte(i) then
      return i - 1
    end
  end
  return n
end

-- numbers come back from a journal as numbers
local function texts(step)
  return tostring(step.old), tostring(step.new)
end

local function ours(step, text)
  local old, new = texts(step)
  if text == new then
    return true
  end
  local n = common(text, new)
  return text:sub(n + 1) == old:sub(n + 1)
end

-- the file, open; and what it says, if that is what it was left with
local function look(step)
  local handle, message, errno = fd.open(step.path, { "rdwr" })
  local st = handle and fd.stat(handle)
  if not handle then
    return nil, nil, message, errno
  elseif st.ino ~= step.ino or st.dev ~= step.dev then
    return handle
  end
  local text = read(handle)
  return handle, text and ours(step, text) and text or nil
end

--- See `nsbox.undo`.
function M.undo(steps, fail)
  for _, step in ipairs(steps) do
    local handle <close>, text, message, errno = look(step)
    local old = texts(step)
    if text and text ~= old then
      local out <close> = fd.open(step.path, { "wronly" })
      local ok
      ok, message, errno = M.write(out, old)
      if not ok then
        fail(step, undo.failure(step.path, message:gsub("^.-: ", ""), errno))
      end
    elseif not handle and errno ~= 2 then
      fail(step, undo.failure(step.path, message:gsub("^.-: ", ""), errno))
    end
  end
end

--- See `nsbox.undo`.
function M.there(step)
  local handle <close>, text = look(step)
  local _, new = texts(step)
  return handle and text == new
end

--- See `nsbox.undo`.
function M.describe(step)
  return "what " .. step.path .. " says"
end

return M
