"""The server's side of its worker processes: where calls wait, and who watches over those that run."""
