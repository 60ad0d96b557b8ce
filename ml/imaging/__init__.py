"""Operations on pixels: arrays in, arrays out; nothing here knows a tool, an engine or a caller."""
