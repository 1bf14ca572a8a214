"""A recipe: one published system as data. No code lives here but validation.

A recipe names the networks, how each one's picture is prepared (a tuple of steps from
`preprocessing`), and how their answers become one number. Which file holds a network's
weights, its bias correction and its conformal widths are measured, not designed: they stand
in `weights/manifest.json` beside the weights they belong to.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from ..hand_anatomy import LANDMARKS
from ..types import SEXES, Sex

if TYPE_CHECKING:
    from ..preprocessing.prepare import InputSpec


@dataclass(frozen=True)
class Architecture:
    """A network's shape.

    Attributes:
        backbone: a timm model name.
        task: what comes out: "age" (months), "sex" (logit of male), "hand" (mask and more), "mask" (mask alone),
            "redraw" (an uncertain mask again), or "landmarks" (places).
        heads: of an age network: "one" dense head; "six", one for each of regression and expectation and for girls,
            boys and both (Iglovikov 2018); or "grouped", one a sex and age group behind a classifier (Malanga 2024).
            Of networks of sex and age: "bones", which look along straightened bones (`bone_strips.BoneNetwork`).
            Of an age network: "joints", patches around the joints (`joint_patches.JointAgeNetwork`).
        hidden: widths of the fully connected layers after the backbone; of the convolutions for hand and landmarks.
        sex_features: width of the layer that inflates the sex before it is concatenated; 0 for no sex input.
        output: "regression" (z-scored months) or "expectation" (softmax over months, its mean).
        activation: in place of the backbone's own, or "" to keep it.
        also_sex: an age network that answers the sex from the same features as well, for training a
            start of age and sex networks at once.
        points: which landmarks are placed.
    """

    backbone: str
    task: Literal["age", "sex", "hand", "mask", "redraw", "landmarks"] = "age"
    heads: Literal["one", "six", "grouped", "bones", "joints"] = "one"
    hidden: tuple[int, ...] = (256,)
    sex_features: int = 32
    output: Literal["regression", "expectation"] = "expectation"
    dropout: float = 0.2
    activation: str = ""
    also_sex: bool = False
    points: tuple[str, ...] = LANDMARKS


@dataclass(frozen=True)
class TrainingPlan:
    """How a member is trained. Every field is read by `python -m train`.

    Attributes:
        init: "scratch", "imagenet", or the name of a member whose weights to start from.
        images: which pictures, any of "thumbnails" and "sharp".
        sharp_share: how much of what is drawn in training is sharp radiographs, where both kinds are used; None for as
            they come.
        augment: name of an augmentation set in `train.data.augmentation`.
        average_decay: decay of the exponential moving average of the weights, 0 for none.
        mask_growths: by which shares of the hand's length its mask is widened (or, below 0, narrowed). Every time a
            picture is drawn one of them is taken: Deeplasia draws between several masks of each hand.
        teacher_weight: share of the label that comes from the mean of another system's readings, 0 to 1.
        features_of: a member whose view of each training picture is learnt beside the age, in place of the ImageNet
            weights that this backbone would begin with; "" for none.
        thumbnails_at_most: how many thumbnails are learnt from, evenly taken; None for all.
        drawn_share: how much of what is shown in training is hands that `phantom` drew (`train.data.phantoms`).
        keep_last: the weights of the end count, not those of the best epoch: for what the metric on `val` does not see.
        points_of: a network that places the points on hands without annotations, which are then learnt from too.
        halved_share: for this share of the training pictures are shown at half their size, which takes a quarter of the
            time (progressive learning, Tan & Le 2021).
        evenly: draw every year of bone age equally often (Fanciulli & Motisi 2024 copy and turn the rare ones).
        seed: of everything drawn by chance, unless `--seed` says otherwise.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    optimiser: Literal["adam", "adamw", "sgd"] = "adamw"
    schedule: Literal["plateau", "cosine", "steps"] = "cosine"
    weight_decay: float = 0.0
    loss: Literal["mse", "mae", "distribution", "mean_error", "bce", "mask", "landmarks"] = "distribution"
    augment: str = "strong"
    images: tuple[Literal["thumbnails", "sharp"], ...] = ("sharp",)
    init: str = "scratch"
    average_decay: float = 0.0
    sharp_share: float | None = None
    mask_growths: tuple[float, ...] = (0.0,)
    teacher_weight: float = 0.0
    features_of: str = ""
    thumbnails_at_most: int | None = None
    drawn_share: float = 0.0
    keep_last: bool = False
    points_of: str = ""
    halved_share: float = 0.0
    evenly: bool = False
    seed: int = 42

    def fine_tuning(self) -> TrainingPlan:
        """For going on with weights this plan has made: a third of the learning rate, no time at half the size."""
        return replace(self, learning_rate=self.learning_rate / 3.0, halved_share=0.0)


@dataclass(frozen=True)
class TestTimeAugmentation:
    """As which pictures one prepared picture is shown to a network; its answers are averaged.

    Attributes:
        mirror: the mirror image too, so that left and right hands get the same answer.
        turns_degrees: turned by each of these, clockwise positive. Deeplasia's test-time augmentation takes
            -10, -5, 0, 5 and 10 degrees, mirrored or not (supplement 3).
        zoom: enlarged by this about its middle; below 1 it is reduced.
    """

    __test__: ClassVar[bool] = False  # pytest: no class of tests
    mirror: bool = True
    turns_degrees: tuple[float, ...] = (0.0,)
    zoom: float = 1.0


@dataclass(frozen=True)
class Member:
    """One network of a recipe: its shape, its input, and how it is trained.

    Attributes:
        paper: the published training where it differs from `training`, the one that made the shipped weights.
        learns_from: the input in training, where the served one takes too long to make of a whole training set: the
            same picture but for where the hand was found. None for the same.
        sexes: whose hands it learns from and answers for.
        views: of a sex network: as which pictures each one is shown to it. Age networks go by the recipe's.
        weight: of an age network: how much its months count beside the others'.
        least_hand_px: an age network is left out where the hand is shorter than this in the radiograph's pixels, from
            the wrist to the tip of the middle finger, because what it reads is not to be seen there; 0 for never.
        eight_bit: its file holds large tensors in eight bits (`weights.save_network`), because it would be large.
    """

    name: str
    architecture: Architecture
    input: InputSpec
    training: TrainingPlan
    paper: TrainingPlan | None = None
    learns_from: InputSpec | None = None
    sexes: tuple[Sex, ...] = SEXES
    views: TestTimeAugmentation = TestTimeAugmentation()
    weight: float = 1.0
    least_hand_px: float = 0.0
    eight_bit: bool = False


@dataclass(frozen=True)
class Recipe:
    """A whole system.

    Attributes:
        members: the age networks whose months are averaged by weight.
        hand: the network that finds the hand.
        redraw: the network that draws its outline again where that is uncertain; None: it stays as it is.
        sex: the networks that check the entered sex; their log-odds are averaged (`ensemble.mean_log_odds`).
        start: networks trained only to start others from; never served.
        untrained_members: members of the paper that can be trained here but have no shipped weights yet.
        landmarks: the network that places the joints, by which outline and pose are checked and bones straightened;
            None for a system that does without.
        mask: the network that draws the hand's outline once it was found; None for the one that found it.
        points: the network that places the points which some steps need.
        points_needed: refuse a hand whose points cannot be placed; otherwise the steps do without, with a caution.
        age_groups_months: the bounds of the groups between which a "grouped" network chooses, for a system in which
            the user may state the group; the last group ends at the last bound.
        views: as which pictures each one is shown to the age networks.
    """

    name: str
    title: str
    citation: str
    hand: Member
    members: tuple[Member, ...]
    sex: tuple[Member, ...]
    start: tuple[Member, ...] = ()
    untrained_members: tuple[Member, ...] = ()
    views: TestTimeAugmentation = TestTimeAugmentation()
    redraw: Member | None = None
    landmarks: Member | None = None
    mask: Member | None = None
    points: Member | None = None
    points_needed: bool = True
    age_groups_months: tuple[float, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [m.name for m in self.networks]
        if len(set(names)) != len(names):
            raise ValueError(f"recipe '{self.name}' names a member twice: {names}")
        if any(all(m.least_hand_px for m in self.members if sex in m.sexes) for sex in SEXES):
            raise ValueError(f"recipe '{self.name}' has no age network for hands of any length")

    @property
    def sex_views(self) -> dict[str, TestTimeAugmentation]:
        """As which pictures each one is shown, by sex network."""
        return {member.name: member.views for member in self.sex}

    @property
    def weights(self) -> dict[str, float]:
        """How much each one's months count, by age network."""
        return {member.name: member.weight for member in self.members}

    @property
    def networks(self) -> tuple[Member, ...]:
        """Every member that `python -m train` can make."""
        return (*self.members_in_use, *self.start, *self.untrained_members)

    @property
    def sex_and_age_members(self) -> tuple[Member, ...]:
        """The members that see the prepared hand in every assessment."""
        return (*self.sex, *self.members)

    @property
    def members_in_use(self) -> tuple[Member, ...]:
        """The members that an assessment runs, whose weights come with the software."""
        finding = (self.hand, self.redraw, self.mask, self.landmarks, self.points)
        return (*dict.fromkeys(member for member in finding if member is not None), *self.sex_and_age_members)


# Malanga 2024, Methods: 0-57, 58-114, 115-171 and 172-228 months.
AGE_GROUPS_MONTHS = (0.0, 57.5, 114.5, 171.5, 228.0)
