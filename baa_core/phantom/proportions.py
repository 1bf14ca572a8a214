"""Where the joints of a hand are and what its bones look like: numbers only.

Hand units: the distance from the wrist to the tip of the middle finger is 1; x grows towards the thumb, y towards the
fingers, and the wrist (the end of the radius) is the origin.

Joint positions are medians over the hand keypoints of some 500 children; widths and outlines are round figures for an
adolescent hand. Nothing is cut from a picture.
"""

from __future__ import annotations

from typing import Final

FINGERS: Final = {1: "thumb", 2: "forefinger", 3: "middle_finger", 4: "ring_finger", 5: "pinky_finger"}
REGIONS: Final = (
    "carpals",
    "radius_ulna",
    "metacarpals",
    "proximal_phalanges",
    "middle_phalanges",
    "distal_phalanges",
)
JOINTS: Final[dict[int, tuple[tuple[float, float], ...]]] = {  # from palm to tip, (x, y)
    1: ((0.186, 0.140), (0.311, 0.332), (0.385, 0.474), (0.449, 0.566)),
    2: ((0.148, 0.529), (0.178, 0.736), (0.194, 0.856), (0.202, 0.942)),
    3: ((0.019, 0.532), (0.016, 0.761), (0.009, 0.906), (0.000, 1.000)),
    4: ((-0.092, 0.484), (-0.132, 0.694), (-0.155, 0.833), (-0.167, 0.929)),
    5: ((-0.190, 0.422), (-0.266, 0.566), (-0.305, 0.656), (-0.334, 0.736)),
}
METACARPAL_BASES: Final = {2: (0.082, 0.183), 3: (0.024, 0.190), 4: (-0.034, 0.179), 5: (-0.077, 0.168)}
# Half widths of the middle finger's bones: at the growth plate, at the waist, at the other end.
HALF_WIDTHS: Final = {
    "metacarpal": (0.0335, 0.0190, 0.0310),
    "proximal_phalanx": (0.0375, 0.0230, 0.0285),
    "middle_phalanx": (0.0310, 0.0178, 0.0235),
    "distal_phalanx": (0.0240, 0.0118, 0.0165),
}
# How far a bone's head ends before the joint, whose other bone reaches across it.
HEAD_CLEARANCE: Final = {"metacarpal": 0.030, "proximal_phalanx": 0.0245, "middle_phalanx": 0.021}
ROBUST: Final = {1: 1.10, 2: 1.02, 3: 1.0, 4: 0.92, 5: 0.82}  # breadth of each ray beside the middle one
CARPAL_OUTLINES: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    "capitate": (
        (-0.012, 0.178), (0.020, 0.186), (0.048, 0.178), (0.058, 0.150), (0.054, 0.120), (0.064, 0.086),
        (0.048, 0.056), (0.021, 0.047), (-0.004, 0.060), (-0.011, 0.090), (-0.004, 0.125), (-0.014, 0.155),
    ),
    "hamate": (
        (-0.093, 0.141), (-0.076, 0.160), (-0.050, 0.171), (-0.022, 0.166), (-0.015, 0.140), (-0.013, 0.108),
        (-0.024, 0.074), (-0.047, 0.095), (-0.074, 0.115),
    ),
    "triquetrum": (
        (-0.091, 0.119), (-0.072, 0.108), (-0.058, 0.078), (-0.046, 0.055), (-0.058, 0.038), (-0.085, 0.037),
        (-0.099, 0.058), (-0.102, 0.094),
    ),
    "lunate": (
        (-0.048, 0.028), (-0.036, 0.045), (-0.010, 0.050), (0.012, 0.046), (0.026, 0.029), (0.022, 0.008),
        (0.000, 0.000), (-0.033, 0.006),
    ),
    "scaphoid": (
        (0.041, 0.029), (0.050, 0.057), (0.076, 0.087), (0.101, 0.090), (0.113, 0.068), (0.109, 0.043),
        (0.086, 0.020), (0.058, 0.012),
    ),
    "trapezium": (
        (0.099, 0.119), (0.114, 0.160), (0.134, 0.173), (0.152, 0.145), (0.163, 0.112), (0.152, 0.090),
        (0.131, 0.083), (0.108, 0.100),
    ),
    "trapezoid": (
        (0.062, 0.152), (0.080, 0.173), (0.110, 0.175), (0.125, 0.156), (0.118, 0.121), (0.097, 0.110), (0.070, 0.122),
    ),
    "pisiform": ((-0.106, 0.082), (-0.088, 0.096), (-0.069, 0.086), (-0.065, 0.064), (-0.083, 0.051), (-0.102, 0.061)),
}  # fmt: skip
# Radius and ulna: the metaphysis and shaft, then the epiphysis, as closed outlines.
RADIUS_SHAFT: Final = (
    (-0.044, -0.045), (0.002, -0.043), (0.050, -0.053), (0.100, -0.069), (0.106, -0.080), (0.098, -0.115),
    (0.083, -0.165), (0.070, -0.230), (0.063, -0.310), (0.061, -0.420), (0.064, -0.560), (0.070, -0.750),
    (0.000, -0.750), (-0.005, -0.560), (-0.007, -0.420), (-0.010, -0.310), (-0.017, -0.230), (-0.029, -0.165),
    (-0.040, -0.100), (-0.047, -0.060),
)  # fmt: skip
RADIUS_CAP: Final = (
    (-0.046, -0.018), (-0.020, -0.020), (0.010, -0.019), (0.045, -0.011), (0.080, 0.002), (0.107, 0.011),
    (0.115, -0.008), (0.112, -0.036), (0.103, -0.056), (0.085, -0.052), (0.055, -0.042), (0.020, -0.034),
    (-0.015, -0.034), (-0.043, -0.036),
)  # fmt: skip
ULNA_SHAFT: Final = (
    (-0.125, -0.046), (-0.091, -0.051), (-0.058, -0.057), (-0.056, -0.072), (-0.066, -0.120), (-0.075, -0.180),
    (-0.080, -0.260), (-0.082, -0.400), (-0.079, -0.560), (-0.075, -0.750), (-0.125, -0.750), (-0.128, -0.560),
    (-0.129, -0.400), (-0.128, -0.260), (-0.125, -0.180), (-0.123, -0.120), (-0.127, -0.065),
)  # fmt: skip
ULNA_CAP: Final = (
    (-0.124, -0.008), (-0.118, 0.006), (-0.110, 0.002), (-0.103, -0.017), (-0.081, -0.021), (-0.061, -0.024),
    (-0.054, -0.036), (-0.061, -0.047), (-0.091, -0.043), (-0.121, -0.037), (-0.126, -0.026),
)  # fmt: skip
