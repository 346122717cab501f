describe("nsbox.sys.errno", function()
  local errno = require("nsbox.sys").errno

  it("raises on anything but a number", function()
    assert.error_matches(function() errno.strerror "EPERM" end, "bad argument #1 to 'strerror'")
    assert.error_matches(function() errno.strerror(-1) end, "out of range")
  end)

  it("maps names to numbers and numbers to names", function()
    assert.equal(1, errno.EPERM)
    assert.equal("EPERM", errno[1])
    assert.equal("ENOENT", errno[errno.ENOENT])
  end)

  it("knows the second names", function()
    assert.equal(errno.EAGAIN, errno.EWOULDBLOCK)
    assert.equal("EAGAIN", errno[errno.EWOULDBLOCK])
    assert.equal(errno.EOPNOTSUPP, errno.ENOTSUP)
    assert.equal(errno.EDEADLK, errno.EDEADLOCK)
  end)

  it("knows nothing else", function()
    assert.is_nil(errno.EFOO)
    assert.is_nil(errno[0])
    assert.is_nil(errno[100000])
  end)

  it("agrees with io.open about text and number", function()
    local _, message, number = io.open "/does/not/exist"
    assert.equal(errno.ENOENT, number)
    assert.equal("/does/not/exist: " .. errno.strerror(number), message)
  end)
end)
