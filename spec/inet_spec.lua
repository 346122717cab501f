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
end)
