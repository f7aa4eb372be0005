"""Watching to act: what the arm's own play teaches is read into silent video, which then shows what to do."""
