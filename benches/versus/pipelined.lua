-- wrk -s pipelined.lua URL -- N: sends N requests in one go. wrk itself counts each of their replies.
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
