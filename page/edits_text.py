"""The words of the part that changes the picture by hand."""

from __future__ import annotations

TITLE = "Change the picture by hand"
HELP = (
    '<p class="baa-fine">For a picture that lies on its side, is a mirror image, shows bone dark, or shows more than '
    "one hand. Press Assess afterwards. The result and every report say what was done.</p>"
)
OFFER = (
    '<p class="baa-note">Does the picture lie on its side, is bone dark in it, or does it show more than one hand? '
    "Change it by hand below, then press Assess again.</p>"
)
BUTTONS = {
    "turn": "Turn right",
    "mirror": "Mirror",
    "invert": "Invert greys",
    "crop": "Crop",
    "reset": "Undo all",
}
DRAW = "Draw a rectangle"
BOX = {"left": "Left", "top": "Top", "right": "Right", "bottom": "Bottom"}
BOX_HELP = '<p class="baa-fine">Crop to a rectangle: draw it in the picture, or give its edges in pixels.</p>'
NO_BOX = "The rectangle has no edges yet. Draw it in the picture, or give left, top, right and bottom as whole numbers."
