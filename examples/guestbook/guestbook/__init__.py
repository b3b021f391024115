"""A guestbook that keeps its visits in the app's private storage, which every update leaves in place."""
