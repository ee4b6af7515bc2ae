-- wrk -s pipelined.lua URL -- N
-- Sends N requests together. wrk itself counts each reply.
init = function(arguments)
   local batch = {}
   for i = 1, tonumber(arguments[1]) do
      batch[i] = wrk.format()
   end
   requests = table.concat(batch)
end

request = function()
   return requests
end
