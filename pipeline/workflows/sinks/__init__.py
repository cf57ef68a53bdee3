"""Where deliveries go: a folder, a web hook, a mail server."""
