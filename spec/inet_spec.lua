local inet = require "nsbox.inet"

describe("nsbox.inet", function()
  it("finds the network of an address", function()
    for text, want in pairs {
      ["10.1.2.255/24"] = "10.1.2.0", ["10.1.2.255/25"] = "10.1.2.128",
      ["10.1.2.255/32"] = "10.1.2.255", ["10.1.2.255/0"] = "0.0.0.0",
      ["10.255.2.3/13"] = "10.248.0.0", ["fd00:1:2:3:ffff::1/70"] = "fd00:1:2:3:fc00::",
      ["fd00::1/128"] = "fd00::1", ["ffff::1/0"] = "::",
    } do
      assert.equal(want, inet.text(inet.network(inet.parse(text))), text)
    end
  end)

  it("refuses what no device can use as its address", function()
    for addr, want in pairs {
      ["0.0.0.0/24"] = "'0.0.0.0/24' is no address of a device",
      ["224.0.0.1/24"] = "'224.0.0.1/24' is a multicast address",
      ["239.255.0.1/32"] = "'239.255.0.1/32' is a multicast address",
      ["10.2.0.255/24"] = "'10.2.0.255/24' is the broadcast address of its network, 10.2.0.0/24",
      ["10.2.0.3/30"] = "'10.2.0.3/30' is the broadcast address of its network, 10.2.0.0/30",
      ["255.255.255.255/0"] = "'255.255.255.255/0' is the broadcast address of its network, "
        .. "0.0.0.0/0",
    } do
      assert.same({ nil, want }, { inet.check_own(addr) })
    end
    for _, addr in ipairs { "10.2.0.0/24", "10.2.0.255/23", "10.2.0.255/31", "10.2.0.255/32",
      "fd00::/64", "fd00::ffff/112", "240.0.0.1/24", "127.0.0.1/8" } do
      assert.equal(addr, (inet.check_own(addr)))
    end
    assert.matches("at most 32, not 33", select(2, inet.check_own "10.0.0.1/33"))
    assert.is_nil((inet.check_own(7)))
  end)
end)
