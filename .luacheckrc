std = "lua54"
max_line_length = 120
ignore = { "212/_.*" } -- arguments that are there for their place
