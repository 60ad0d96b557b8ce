"""Operations shared by tools: selection, foreground, filling, inpainting, brushes."""
