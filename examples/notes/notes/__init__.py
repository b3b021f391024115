"""Notes in the app's private storage: an app that uses all of `pearrt.sdk`."""
