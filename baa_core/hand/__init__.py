"""Radiograph -> hand mask, its quality, pose, landmarks and regions."""
