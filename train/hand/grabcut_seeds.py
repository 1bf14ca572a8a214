"""First hand masks, from annotated keypoints and GrabCut: round zero of positive mining.

There is no hand-mask data set. Each annotated hand gives a skeleton (21 keypoints joined
along the fingers); GrabCut (Rother et al., 2004) grows it to the outline of the hand on a
contrast-equalised picture. What fails the automatic checks is dropped, not repaired.
"""

import itertools

import cv2
import numpy as np

FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
SEED_SIDE_PX = 256
MIN_AREA_SHARE = 0.03
MAX_AREA_SHARE = 0.75
MAX_ROUGHNESS = 9.0  # perimeter / sqrt(area); 24 hands looked at lie between 5.5 and 8.5


def skeleton_lines(keypoints: dict[str, tuple[float, float]]) -> list[tuple[str, str]]:
    """Pairs of keypoint names to be joined: wrist to each finger's root, then along the finger."""
    chains = [["wrist", *(f"{finger}{i}" for i in range(1, 5))] for finger in FINGERS]
    lines = [(a, b) for chain in chains for a, b in itertools.pairwise(chain)]
    lines += [(f"{a}1", f"{b}1") for a, b in itertools.pairwise(FINGERS)]
    return [(a, b) for a, b in lines if a in keypoints and b in keypoints]


def seed_mask(grey: np.ndarray, keypoints: dict[str, tuple[float, float]]) -> np.ndarray:
    """Grow the keypoint skeleton to a hand mask.

    Args:
        grey: uint8 (H, W), bone bright, aspect ratio true.
        keypoints: name to (x, y) in fractions of the frame.

    Returns:
        uint8 (h, w) in {0, 1}; the longest side is `SEED_SIDE_PX`.
    """
    scale = SEED_SIDE_PX / max(grey.shape)
    size = (round(grey.shape[1] * scale), round(grey.shape[0] * scale))
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    small = cv2.createCLAHE(3.0, (4, 4)).apply(cv2.normalize(small, None, 0, 255, cv2.NORM_MINMAX))
    colour = np.dstack([small, cv2.GaussianBlur(small, (0, 0), 2), cv2.GaussianBlur(small, (0, 0), 5)])
    points = {k: (round(x * size[0]), round(y * size[1])) for k, (x, y) in keypoints.items()}
    wrist, tip = np.array(points["wrist"], float), np.array(points["middle_finger4"], float)
    length = float(np.hypot(*(tip - wrist)))
    drawn = np.zeros(small.shape, np.uint8)
    for a, b in skeleton_lines(points):
        cv2.line(drawn, points[a], points[b], 255, 1)
    distance = cv2.distanceTransform(255 - drawn, cv2.DIST_L2, 5)
    root = np.array(points["middle_finger1"], float)
    along = (wrist - root) / max(1.0, float(np.hypot(*(wrist - root))))
    forearm = np.zeros_like(drawn)
    end = wrist + along * 0.45 * length
    cv2.line(forearm, tuple(np.int32(wrist)), tuple(np.int32(end)), 255, max(3, int(0.22 * length)))
    beyond = np.zeros_like(drawn)
    far = wrist + along * 3 * length
    cv2.line(beyond, tuple(np.int32(wrist)), tuple(np.int32(far)), 255, max(3, int(0.5 * length)))
    seeds = np.full(small.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[(distance > 0.15 * length) & (beyond == 0)] = cv2.GC_BGD
    seeds[(distance < 0.08 * length) | (forearm > 0)] = cv2.GC_PR_FGD
    seeds[distance < 0.018 * length] = cv2.GC_FGD
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(colour, seeds, None, background, foreground, 6, cv2.GC_INIT_WITH_MASK)
    return keep_largest(((seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)).astype(np.uint8))


def keep_largest(mask: np.ndarray) -> np.ndarray:
    """Open, keep the largest piece, fill its holes. uint8 (H, W) in {0, 1} to the same."""
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(mask)
    if contours:
        cv2.drawContours(filled, [max(contours, key=cv2.contourArea)], -1, 1, -1)
    return filled


def passes_checks(mask: np.ndarray, points: np.ndarray) -> bool:
    """Is this mask fit for the next round: area, smooth outline, annotated points inside?

    Args:
        mask: uint8 (H, W) in {0, 1}.
        points: (N, 2), (x, y) in fractions of the frame; N may be 0.
    """
    share = float(mask.mean())
    if not MIN_AREA_SHARE <= share <= MAX_AREA_SHARE:
        return False
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contour = max(contours, key=cv2.contourArea)
    if cv2.arcLength(contour, True) / np.sqrt(cv2.contourArea(contour) + 1.0) > MAX_ROUGHNESS:
        return False
    if len(points) == 0:
        return True
    height, width = mask.shape
    columns = np.clip((points[:, 0] * width).astype(int), 0, width - 1)
    rows = np.clip((points[:, 1] * height).astype(int), 0, height - 1)
    return float(mask[rows, columns].mean()) > 0.95
