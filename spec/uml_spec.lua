-- What the second kernel is there for: if it is not what spec/uml/ says, the
-- specs that run on it prove nothing.

-- the output of `show` in a network namespace where these commands were given
local function batch(program, commands, show, before)
  local file = tmpdir() .. "/commands"
  spew(file, commands)
  local out, status = sh(("exec unshare -n sh -ec '%s\n%s -batch %s; %s'"):format(before or "",
    program, file, show))
  assert.equal(0, status, out)
  return out
end

describe("the second kernel #onlyuml", function()
  it("is a Linux 6.1 that is a program", function()
    assert.matches("^6%.1%.", slurp "/proc/sys/kernel/osrelease")
    assert.matches("User Mode Linux", slurp "/proc/cpuinfo")
  end)

  it("cannot write the machine's files, not even when it wants to", function()
    -- elsewhere it would
    assert.matches("User Mode Linux", slurp "/proc/cpuinfo")
    local out = sh [[
      touch /usr/nsbox-spec
      mkdir /run/other && mount -t hostfs -o /usr hostfs /run/other && touch /run/other/nsbox-spec
      umount /run/other; rmdir /run/other
    ]]
    assert.equal(2, select(2, out:gsub("cannot touch", "")), out)
  end)

  it("makes links of the kinds that others may lack", function()
    local out = batch("ip", [[
        link add name d0 type dummy
        link add name d1 type dummy
        link add name veth0 type veth peer veth1
        link add name macvlan0 link d0 type macvlan
        link add name ipvlan0 link d1 type ipvlan mode l2
        link add name vlan0 link d0 type vlan id 7 protocol 802.1q
        link add name vlan1 link d0 type vlan id 7 protocol 802.1ad
        link add name vxlan0 type vxlan id 7 dev d0 dstport 4789
        link add name vrf0 type vrf table 7
        link add name bridge0 type bridge
        link add name ifb0 type ifb
        tuntap add name tun0 mode tun
        tuntap add name tap0 mode tap
      ]], "ip -details -oneline link show")
    local found, want = {}, { d0 = "dummy", d1 = "dummy", veth0 = "veth", veth1 = "veth",
      macvlan0 = "macvlan", ipvlan0 = "ipvlan", vlan0 = "vlan protocol 802.1Q",
      vlan1 = "vlan protocol 802.1ad", vxlan0 = "vxlan", vrf0 = "vrf", bridge0 = "bridge",
      ifb0 = "ifb", tun0 = "tun type tun", tap0 = "tun type tap" }
    for line in out:gmatch "[^\n]+" do
      local name = line:match "^%d+: ([^:@]+)"
      local kind = want[name]
      found[name] = kind and line:find("\\ +" .. kind .. " ") and kind
    end
    assert.same(want, found, out)
  end)

  it("shapes what they send", function()
    local out = batch("tc", [[
        qdisc add dev d0 root netem delay 20ms loss 1%
        qdisc add dev d1 root tbf rate 1mbit burst 32k latency 50ms
        qdisc add dev d2 root htb
        qdisc add dev d2 ingress
      ]], "tc qdisc show", "for name in d0 d1 d2; do ip link add $name type dummy; done")
    for _, line in ipairs { "netem %S+ dev d0", "tbf %S+ dev d1", "htb %S+ dev d2",
      "ingress %S+ dev d2" } do
      assert.matches("qdisc " .. line, out)
    end
  end)
end)
