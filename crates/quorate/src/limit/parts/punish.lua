-- Put where a request is refused: blocks the key, if that is asked for. There is a state, or nothing would be refused.
if ARGV[3] then
  blocked = math.max(blocked, time + ARGV[3])
  redis.call('SETRANGE', KEYS[1], 8, struct.pack('<d', blocked))
  redis.call('PEXPIRE', KEYS[1], math.ceil((blocked - time) / 1000), 'GT')
end
