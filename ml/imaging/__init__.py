"""Operations on pixels: independent of tools and engines."""
