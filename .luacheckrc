-- A script is a function behind the key functions that embed.sh makes of keys.def, and behind
-- lib.lua: their names are its globals.

local function names_in(path, pattern)
    local names = {}
    for line in io.lines(path) do
        for name in (line:match(pattern) or ""):gmatch("[%w_]+") do
            names[#names + 1] = name
        end
    end
    return names
end

local keys = names_in("broker/keys.def", '^KEY%([%u_]+, *"(%l+)')
for i, name in ipairs(keys) do
    keys[i] = name .. "_key"
end

local library = names_in("broker/scripts/lib.lua", "^local function ([%w_]+)")
for _, name in ipairs(names_in("broker/scripts/lib.lua", "^local ([%w_, ]+)$")) do
    library[#library + 1] = name
end
for _, name in ipairs(names_in("broker/scripts/lib.lua", "^local ([%w_, ]+) %-%-")) do
    library[#library + 1] = name
end
for _, name in ipairs(names_in("broker/scripts/lib.lua", "^local ([%w_, ]+) =")) do
    library[#library + 1] = name
end

std = "lua51"
max_line_length = 100
read_globals = { "KINDS", "redis" }
globals = { "ARGV", "P" }
for _, name in ipairs(keys) do
    read_globals[#read_globals + 1] = name
end

files["broker/scripts"] = { globals = library }
-- lib.lua is there for the others: what it does not use itself, they do.
files["broker/scripts/lib.lua"] = { globals = {}, ignore = { "211", "221", "231" } }
