#!lua flags=allow-oom
-- Ends a session that its worker leaves in good order. Returns 1.
--
-- ARGV     session
end_session(word(), 'untouched')
save_all()
return 1
