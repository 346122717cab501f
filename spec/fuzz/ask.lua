-- a message to an idle nsbox-init: it answers, and goes on
return function(bytes)
  assert(fuzz.serve(bytes) == (#bytes > 0))
end
