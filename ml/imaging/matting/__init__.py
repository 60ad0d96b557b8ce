"""From a network's small matte to a finished cut-out's alpha and colours, with no network involved.

Networks see a photo at 1024 or 320 pixels a side. Their matte says reliably what is foreground, but its
edges are as soft as the enlargement is large, and hair thinner than its pixels is a haze. Here the picture's
own full-size colours sharpen it: `refinement.refine`. Pixels at soft edges show a mix of foreground and
background; `decontamination.decontaminate` takes the background's share out of them.

    color_models       what colours foreground and background have around each place
    guided_filter      a matte as a local linear function of the picture's colours
    band               the uncertain part of a matte, and how its full-size pixels are visited
"""
