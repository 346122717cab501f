-- What the benchmarks print, and the figures in it.
--
--     median(list)        list stays as it is
--     paired(a, b, f)     the median of f(a, b), round by round
--     ratio(a, b)         for that
--     row(...)            of a table in Markdown
--
-- Usage: dofile(HERE .. "/figures.lua")

local M = {}

function M.median(list)
  local sorted = table.move(list, 1, #list, 1, {})
  table.sort(sorted)
  return sorted[#sorted // 2 + 1]
end

function M.paired(a, b, f)
  local list = {}
  for i = 1, math.min(#a, #b) do list[i] = f(a[i], b[i]) end
  return M.median(list)
end

function M.ratio(a, b) return a / b end

function M.row(...)
  print("| " .. table.concat({ ... }, " | ") .. " |")
end

return M
