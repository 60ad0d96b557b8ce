"""The REST API and the services behind it: authentication, billed calls, image storage, payments."""
