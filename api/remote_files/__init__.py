"""Files that a caller names by URL, fetched without reaching anything but public hosts."""
