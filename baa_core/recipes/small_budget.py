"""How two cores train the networks of papers whose own scale is out of reach."""

from .schema import TrainingPlan

# Thumbnails and sharp radiographs together; labels halfway to a teacher's readings, and the features of our own `start`
# learnt beside the age, in place of the ImageNet weights that cannot be had here. Half of the time at half the size.
SMALL = TrainingPlan(
    epochs=20,
    batch_size=16,
    learning_rate=1.5e-3,
    weight_decay=1e-3,
    loss="mae",
    augment="light_degraded",
    images=("thumbnails", "sharp"),
    sharp_share=0.35,
    average_decay=0.99,
    features_of="start",
    teacher_weight=0.5,
    halved_share=0.5,
)
