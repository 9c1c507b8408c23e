"""What a recipe may say: typed, validated and frozen values, each with its range. No TensorFlow."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Values(BaseModel):
    """Values that are checked when read and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Values):
    """Which pictures, in which parts, under which labels."""

    name: Literal["oxford102", "flowers5", "drawn"]
    split: Literal["official", "swapped", "joint", "kaggle", "five"]
    labels: Literal["fine", "coarse-2024", "coarse-2025", "five"]
    size_px: int = Field(96, ge=16, le=512)
    resize: Literal["antialiased", "nearest", "squashed"] = "antialiased"
    learned: Literal["labels", "kinds"] = Field("labels", description="what a network of groups is taught")

    @model_validator(mode="after")
    def _five_go_together(self) -> Self:
        """The five classes have a split and labels of their own; on other data both would mean nothing."""
        if len({self.name == "flowers5", self.split == "five", self.labels == "five"}) > 1:
            raise ValueError(f"name {self.name}, split {self.split} and labels {self.labels} do not go together")
        return self

    @model_validator(mode="after")
    def _groups_have_kinds(self) -> Self:
        if self.learned == "kinds" and not self.labels.startswith("coarse-"):
            raise ValueError(f"learned kinds: labels {self.labels} are no groups of kinds")
        return self


class Model(Values):
    """A builder of flowerlib.models and its options; those not set are the builder's own."""

    builder: str
    widths: tuple[int, ...] | None = Field(None, min_length=1)
    blocks: tuple[int, ...] | None = Field(None, min_length=1)
    l2: float | None = Field(None, ge=0, le=1)
    weight_decay: float | None = Field(None, ge=0, le=1)
    dropout: float | None = Field(None, ge=0, lt=1)
    batch_norm: bool | None = None
    norm_momentum: float | None = Field(None, ge=0, lt=1)
    softmax: bool | None = Field(None, description="end in a softmax, which the loss then applies once more")
    backbone: str | None = Field(None, description="a pretrained network of flowerlib.models.backbones")
    cut: str | None = Field(None, description="its layer that the head stands on; its last feature map by default")
    weights: Literal["imagenet", "random"] | None = None
    preprocessing: Literal["own", "none"] | None = Field(None, description="none: forgotten, pixels from 0 to 255")
    pooling: Literal["average", "flatten"] | None = None
    hidden: tuple[int, ...] | None = Field(None, description="widths of the head's hidden dense layers")
    depth: int | None = Field(None, ge=1, le=8, description="residual blocks of each level of a U-Net")
    patch: int | None = Field(None, ge=1, le=64, description="side of the patches that a picture is folded into")
    bottleneck: tuple[int, ...] | None = Field(None, description="widths of the convolutions at a U-Net's bottom")
    skips: bool | None = Field(None, description="whether a U-Net's second half sees the first half's maps")
    output_bias: Literal["zeros", "proportions", "log_priors"] = "zeros"

    @model_validator(mode="after")
    def _blocks_and_widths_go_together(self) -> Self:
        if self.blocks is not None and self.widths is not None and len(self.blocks) != len(self.widths):
            raise ValueError(f"blocks {list(self.blocks)} and widths {list(self.widths)}: one of each a stage")
        return self

    def options(self) -> dict[str, Any]:
        """What is passed to the builder; the output bias is set afterwards, from the training part's classes."""
        return self.model_dump(exclude={"builder", "output_bias"}, exclude_none=True)


class Augment(Values):
    """What may be done to a training picture; ranges are symmetric about doing nothing."""

    flip: bool = False
    shift: float = Field(0.0, ge=0, le=0.5, description="share of the side")
    rotation_deg: float = Field(0.0, ge=0, le=180)
    shear_deg: float = Field(0.0, ge=0, le=60)
    zoom: float = Field(0.0, ge=0, le=0.9)
    crop: float | None = Field(None, gt=0, le=1, description="smallest share of the area that a random crop keeps")
    brightness: float = Field(0.0, ge=0, le=1)
    contrast: float = Field(0.0, ge=0, le=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue_deg: float = Field(0.0, ge=0, le=180)
    balance: bool = Field(False, description="fill every class up to the largest with augmented copies")
    cutmix: float = Field(0.0, ge=0, le=1, description="share of the batches whose pictures are pasted together")
    mixup: float = Field(0.0, ge=0, le=1, description="share of the batches whose pictures are blended")
    whitening_epsilon: float | None = Field(None, gt=0, le=1, description="added to the variances by ZCA whitening")
    whitening_fit: Literal["train"] | None = Field(None, description="the part that whitening is fitted on")

    @model_validator(mode="after")
    def _no_impossible_combination(self) -> Self:
        if self.balance and not self.changes_pictures():
            raise ValueError("balance fills classes with augmented copies, but no augmentation is on: set augment.flip"
                             " or another, or leave augment.balance out")  # fmt: skip
        if (self.whitening_epsilon is None) != (self.whitening_fit is None):
            raise ValueError("whitening_epsilon and whitening_fit go together: whitening without a fit does nothing")
        if self.cutmix + self.mixup > 1:
            raise ValueError("cutmix and mixup are shares of the batches and exceed 1 together")
        return self

    def changes_colours(self) -> bool:
        """Whether a colour map is needed."""
        return bool(self.brightness or self.contrast or self.saturation or self.hue_deg)

    def changes_pictures(self) -> bool:
        """Whether anything is done at all."""
        moved = self.flip or self.shift or self.rotation_deg or self.shear_deg or self.zoom or self.crop
        return bool(moved or self.changes_colours())

    def mixes_labels(self) -> bool:
        """Whether a picture may belong to two classes."""
        return bool(self.cutmix or self.mixup)


class Training(Values):
    """How the weights are found."""

    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    learning_rate: float = Field(gt=0, le=10)
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled, of adamw and sgd; norms and biases are spared")
    schedule: Literal["constant", "two_drops", "one_cycle"] = "constant"
    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=4096)
    presentations: int | None = Field(None, ge=1, description="pictures shown in all, not whole epochs")
    sizes_px: tuple[int, ...] = Field((), description="sides of the training pictures, equal shares of epochs")
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    logit_adjustment: float = Field(0.0, ge=0, le=2, description="times the log of the classes' shares, in the loss")
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of the moving average of the weights")
    best_by: Literal["val_accuracy", "val_loss"] | None = Field(None, description="keep the best epoch's weights")
    patience: int | None = Field(None, ge=1, description="epochs without a better one after which a run stops")
    min_delta: float = Field(0.0, ge=0, description="by how much an epoch must be better to count for patience")
    flips_at_test: bool = Field(False, description="predict from a picture and its mirror image")
    test_px: int | None = Field(None, ge=16, le=512, description="side of the pictures that it predicts, if not data's")

    @model_validator(mode="after")
    def _no_impossible_combination(self) -> Self:
        if self.weight_decay and self.optimizer not in ("adamw", "sgd"):
            raise ValueError(f"weight_decay is decoupled and not for optimizer {self.optimizer}: adamw or sgd")
        if self.patience is not None and self.best_by is None:
            raise ValueError("patience needs best_by, which says what a better epoch is")
        if self.best_by and self.ema:
            raise ValueError("best_by and ema both say which weights are kept: leave one of them out")
        if any(not 16 <= size <= 512 for size in self.sizes_px):
            raise ValueError(f"sizes_px {list(self.sizes_px)}: each from 16 to 512")
        if self.presentations is not None and self.presentations < self.epochs * self.batch_size:
            raise ValueError(f"presentations {self.presentations} are less than a batch in each epoch of {self.epochs}")
        return self


class Cycle(Values):
    """A learning rate that climbs and falls between two (flowerlib.cycles)."""

    policy: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    low: float = Field(gt=0, le=10)
    high: float = Field(gt=0, le=10)
    step_size: int = Field(ge=1, description="half a cycle")
    unit: Literal["iterations", "epochs"] = Field(description="of step_size")

    @model_validator(mode="after")
    def _range_is_upright(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} exceeds high {self.high:g}: exchange them")
        return self


class Phase(Values):
    """A stretch of fine-tuning with one set of layers that learn: the head, and some below it."""

    unfreeze: int = Field(
        0, ge=0, description="last layers below the head, of which convolutions and activations learn"
    )
    epochs: int = Field(ge=1, le=10_000)
    optimizer: Literal["adam", "sgd"] = "sgd"
    momentum: float = Field(0.0, ge=0, le=1, description="of sgd")
    learning_rate: float | None = Field(None, gt=0, le=10)
    cycle: Cycle | None = None
    best_by: Literal["val_accuracy", "val_loss"] | None = Field(None, description="keep the best epoch's weights")
    patience: int | None = Field(None, ge=1, description="epochs without a better one after which a phase stops")

    @property
    def name(self) -> str:
        """What it is called in tables and figures."""
        return f"{self.unfreeze} layers" if self.unfreeze else "head"

    @model_validator(mode="after")
    def _no_impossible_combination(self) -> Self:
        if (self.learning_rate is None) == (self.cycle is None):
            raise ValueError("a phase has either a learning_rate or a cycle")
        if self.patience is not None and self.best_by is None:
            raise ValueError("patience needs best_by, which says what a better epoch is")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(f"momentum is sgd's, not {self.optimizer}'s")
        return self


class FineTuning(Values):
    """How a head is trained on the cached features of a frozen network, and layers below it after that.

    A recipe that has ``training`` too goes on with it: then all layers but the batch norms learn, from photographs.
    """

    phases: tuple[Phase, ...] = Field(min_length=1)
    batch_size: int = Field(64, ge=1, le=4096)
    views: int = Field(1, ge=1, le=64, description="augmented views of each training picture in the cache")
    most_epochs: int | None = Field(None, ge=1, description="no phase is longer, which is how a profile cuts them all")


class HeadSweep(Values):
    """Single dense layers on pooled features: every learning rate with every momentum, over many draws of the parts."""

    learning_rates: tuple[float, ...] = Field(min_length=1, max_length=10)
    momenta: tuple[float, ...] = Field(min_length=1, max_length=10)
    draws: int = Field(20, ge=2, le=200, description="each with its own parts, first weights and order")
    epochs: int = Field(100, ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, le=4096)
    reference: tuple[float, float] = Field(description="rate and momentum with which advice is tried")

    @model_validator(mode="after")
    def _reference_is_a_setting(self) -> Self:
        rate, momentum = self.reference
        if rate not in self.learning_rates or momentum not in self.momenta:
            raise ValueError(f"reference rate {rate:g} with momentum {momentum:g} is not among the settings")
        return self


class Regression(Values):
    """Logistic regressions on features of several networks, over many draws of the parts."""

    inverse_penalties: tuple[float, ...] = Field(min_length=1, max_length=10, description="scikit-learn's C")
    draws: int = Field(20, ge=2, le=200, description="each with its own parts")
    views: int = Field(4, ge=1, le=64, description="augmented views of each training picture, beside it")


class Explanation(Values):
    """How many photographs each measure of the methods that explain a network is taken on.

    LIME and RISE look at many copies of a picture for one map: they have the second number of each pair.
    """

    photographs: tuple[int, int] = Field((100, 30), description="for maps, deletion and insertion")
    stable: tuple[int, int] = Field((30, 10), description="for small noise and other seeds")
    randomized: tuple[int, int] = Field((10, 3), description="for weights drawn anew")
    drawn: int = Field(100, ge=2, le=1000, description="drawn flowers, whose outlines are known")
    copies: int = Field(500, ge=50, le=10_000, description="that LIME and RISE look at for a map")
    pieces: int = Field(64, ge=8, le=1000, description="of the integral of integrated gradients")
    beside: tuple[str, ...] = Field((), description="runs whose networks are shown too, where they are trained")
    maximized: tuple[int, ...] = Field((5, 77, 33, 100, 73), description="classes (from 0) whose picture is made")
    steps: int = Field(256, ge=1, le=10_000, description="of making one")
    flipped: float = Field(0.02, gt=0, lt=1, description="share of the labels that are made wrong on purpose")

    @model_validator(mode="after")
    def _counts_can_be_taken(self) -> Self:
        for name in ("stable", "randomized"):
            if any(few > many for few, many in zip(getattr(self, name), self.photographs, strict=True)):
                raise ValueError(
                    f"{name} {list(getattr(self, name))}: at most the photographs {list(self.photographs)}"
                )
        if min(*self.photographs, *self.stable, *self.randomized) < 2:
            raise ValueError("an interval needs two photographs or more")
        return self


class Quantization(Values):
    """How files for phones are made and measured."""

    representative: tuple[int, ...] = Field((16, 100, 500), min_length=1, description="training photographs, tried")
    runs: int = Field(100, ge=5, le=10_000, description="of a timed picture")
    part: int | None = Field(None, ge=10, description="test photographs at most; all by default")
    outlines: tuple[str, ...] = Field((), description="runs with random weights: size and speed of their files alone")
    compared: int = Field(32, ge=1, le=1000, description="validation photographs that layers are compared on")
    packed: str = Field("", description="run whose network is also exported with fewer values a weight")
    bits: tuple[int, ...] = Field((7, 6, 5, 4), description="of those weights, tried besides eight")


class Budget(Values):
    """How long a network that reconstructs or generates learns, from what is drawn on the fly."""

    minutes: float | None = Field(None, gt=0, le=10_000, description="of training; else steps")
    steps: int | None = Field(None, ge=1, description="of training; else minutes")
    batch_size: int = Field(32, ge=1, le=4096)
    learning_rate: float = Field(0.001, gt=0, le=1)
    schedule: Literal["constant", "one_cycle"] = "constant"
    loss: Literal["mean_squared_error", "mean_absolute_error"] = "mean_squared_error"
    ema: float | None = Field(None, gt=0, lt=1, description="momentum of the moving average of the weights")
    marks: int = Field(5, ge=1, le=20, description="times on the way whose weights are kept")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the arithmetic; weights and answers stay float32. bfloat16 is two to three times as"
        " fast where the processor has AMX, and slower where it has not",
    )

    @model_validator(mode="after")
    def _minutes_or_steps(self) -> Self:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("minutes or steps, one of them, says when the training ends")
        return self


class Generation(Values):
    """How pictures become noise and noise becomes pictures."""

    process: Literal["hughes", "shen", "diffusion"]
    pictures: int | None = Field(None, ge=1, description="training pictures, the first so many; all by default")
    latent: bool = Field(False, description="in the latent of the autoencoder that the run uses, not in pixels")
    enlarger: Budget | None = Field(
        None, description="the process makes pictures of half the side; how long what enlarges them learns"
    )
    enlarger_noise: float = Field(0.0, ge=0, le=1, description="most of what its halved photographs are given")
    contrast: float = Field(1.0, gt=0, le=1, description="of the pictures, about grey; 1 leaves them alone")
    clamp: bool = Field(True, description="of Shen's process: each level is cut to [0, 1]")
    start: Literal["uniform", "matched", "structured", "mean 0", "mean 0.5"] = Field(
        "matched", description="noise that Hughes's (the first three) or Shen's process begins with"
    )
    schedule: Literal["linear", "cosine", "keras", "sigmoid"] = Field("cosine", description="of the noise of diffusion")
    target: Literal["epsilon", "x0", "v"] = Field("v", description="what the network is taught")
    min_snr: bool = Field(False, description="whether noise levels are weighted (Hang et al. 2023)")
    unlabelled: float = Field(0.1, ge=0, le=1, description="share of pictures shown without their class")
    steps: int = Field(20, ge=1, le=1000, description="of sampling")
    guidance: float = Field(0.0, ge=0, le=20, description="of the class; 0 asks for no more than its probability")
    samples: int = Field(1000, ge=4, le=50_000, description="that are scored")
    photographs: int | None = Field(None, ge=8, description="of each part that they are compared with; all by default")
    steps_watched: int | None = Field(None, ge=1, le=1000, description="of a process that is taken further")

    @model_validator(mode="after")
    def _starts_belong_to_their_process(self) -> Self:
        own = {"hughes": ("uniform", "matched", "structured"), "shen": ("mean 0", "mean 0.5")}
        if self.process in own and self.start not in own[self.process]:
            raise ValueError(f"start '{self.start}' is not one of {self.process}'s: {', '.join(own[self.process])}")
        if self.enlarger and (self.latent or self.process != "diffusion"):
            raise ValueError("an enlarger is for diffusion in pixels")
        if self.latent != (self.process == "shen") and self.process != "diffusion":
            raise ValueError(f"{self.process}'s process runs in {'a latent' if self.process == 'shen' else 'pixels'}")
        return self


class Steering(Values):
    """What a classifier's steering of a generator is tried with."""

    strengths: tuple[float, ...] = Field(min_length=1, description="beside none")
    tried: int = Field(250, ge=4, le=50_000, description="pictures of each")
    samples: int = Field(1000, ge=4, le=50_000, description="that are scored in the end, with and without")


class Sweep(Values):
    """Rows of one table: the recipe itself with some values changed, each over the same seeds."""

    rows: dict[str, dict[str, Any]] = Field(min_length=1, description="row -> {dotted key: value}")
    reference: str = Field(description="the row that the others are compared with")
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)

    @model_validator(mode="after")
    def _reference_is_a_row(self) -> Self:
        if self.reference not in self.rows:
            raise ValueError(f"reference {self.reference} is not one of the rows {', '.join(self.rows)}")
        return self


SECTIONS: dict[str, type[Values]] = {
    "data": Data,
    "model": Model,
    "augment": Augment,
    "finetuning": FineTuning,
    "training": Training,
    "heads": HeadSweep,
    "regression": Regression,
    "explanation": Explanation,
    "quantization": Quantization,
    "budget": Budget,
    "generation": Generation,
    "steering": Steering,
    "sweep": Sweep,
}


class Expectation(Values):
    """What to expect of a run in one profile, said before it starts."""

    minutes: float = Field(ge=0)
    score: str = ""


class Recipe(Values):
    """One run of one notebook in one profile."""

    name: str
    profile: str
    notebook: str
    title: str
    report: Literal["hughes", "cicalla", "ash", "qu", "shen", "ours"]
    departures: tuple[str, ...] = Field((), description="where the recipe leaves the report, each with its reason")
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    seed: int = Field(1, ge=0)
    may_diverge: bool = False
    data: Data | None = None
    model: Model | None = None
    augment: Augment = Augment()
    finetuning: FineTuning | None = None
    training: Training | None = None
    heads: HeadSweep | None = None
    regression: Regression | None = None
    explanation: Explanation | None = None
    quantization: Quantization | None = None
    budget: Budget | None = None
    generation: Generation | None = None
    steering: Steering | None = None
    sweep: Sweep | None = None
    reduced: tuple[str, ...] = Field((), description="what this profile cuts, made by load()")
    expect: Expectation = Expectation(minutes=0)

    @model_validator(mode="after")
    def _sizes_need_crops(self) -> Self:
        if self.training and self.data and self.training.sizes_px:
            if not self.augment.crop:
                raise ValueError("training.sizes_px needs augment.crop, which makes pictures of another size")
        if self.training and self.data and self.training.best_by and self.data.split == "joint":
            raise ValueError("training.best_by chooses on the validation part, and data.split joint has none")
        return self

    @model_validator(mode="after")
    def _a_latent_needs_its_autoencoder(self) -> Self:
        if self.generation and self.generation.latent and not self.uses:
            raise ValueError("generation.latent needs uses: the run whose autoencoder has it")
        return self

    @model_validator(mode="after")
    def _views_need_augmentation(self) -> Self:
        if self.finetuning is None or self.data is None:
            return self
        if self.finetuning.views > 1 and not self.augment.changes_pictures():
            raise ValueError("finetuning.views are augmented views: set augment.flip or another, or leave views at 1")
        if self.data.split == "joint" and any(phase.best_by for phase in self.finetuning.phases):
            raise ValueError("best_by of a phase chooses on the validation part, and data.split joint has none")
        return self

    def shaping(self) -> dict[str, Any]:
        """The values that shape a training; only those that differ from their defaults, so new keys change nothing."""
        keys = {
            "seed",
            "data",
            "model",
            "augment",
            "finetuning",
            "training",
            "heads",
            "regression",
            "explanation",
            "quantization",
            "budget",
            "generation",
            "steering",
            "needs",
        }
        return self.model_dump(mode="json", include=keys, exclude_defaults=True) | {"seed": self.seed}
