"""What this version of Ember is, in one place."""

VERSION = "0.1.0"

# When it was made, in seconds since 1970: no machine's clock is earlier. To be set with the version.
DATE = "1795219200"
