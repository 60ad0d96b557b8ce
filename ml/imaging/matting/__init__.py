"""From a network's small matte to the full-size alpha and colours of a cut-out, without networks.

Networks process a photo at 1024 or 320 pixels a side. Their matte finds the foreground reliably, but enlarged
it has soft edges, and fine hair becomes a haze. `refinement.refine` sharpens it by the picture's full-size
colours. Pixels at soft edges are a mix of foreground and background; `decontamination.decontaminate` removes
the background's share.

    parts              which parts of a matte show the object
    holes              small holes that show a plain background
    color_models       local colours of foreground and background
    guided_filter      a matte as a local linear function of the picture's colours
    band               the uncertain part of a matte, and its full-size tiles
"""
