"""Studies of the toolkit, a command each; `_study` is what they share, `drawing` their figures."""
