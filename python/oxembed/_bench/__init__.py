"""What `oxembed bench` and the scripts in `benches/python` measure with; nothing else imports it."""
