"""Pages of an app, served to the person's browser from an origin of the app's own on this machine."""
