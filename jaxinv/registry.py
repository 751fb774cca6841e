"""Every name that a study can use, with one line on what it stands for.

The names stand apart from what they name, without JAX, so that checking a study and printing help take no time.
"""

from jaxinv.errors import InputError, unknown

MAX_SIZE = 1 << 20  # units or channels of a layer

PREPROCESSINGS: dict[str, str] = {
    "raw": "grey values as stored, 0 to 255",
    "normal": "grey values divided by 255: background 0, foreground 1",
    "inverted": "one minus normal: background 1, foreground 0",
    "signed": "-1 to 1",
    "global_mean": "normal minus one mean over all training pixels",
    "channel_mean": "normal minus the training mean of each channel (VGG)",
    "pixel_mean": "normal minus the training mean image (CNN_S, Caffe's reference network)",
    "global_zscore": "global_mean divided by one standard deviation over all training pixels",
    "channel_zscore": "channel_mean divided by each channel's standard deviation",
    "pixel_zscore": "pixel_mean divided by each pixel's standard deviation; pixels that never change become 0",
    "image_mean": "normal minus each image's own mean",
    "image_standardize": "each image to mean 0 and variance 1 (TensorFlow's per_image_standardization)",
    "lcn": "local contrast normalisation, subtractive and divisive, with a Gaussian window",
    "zca": "ZCA whitening with a ridge on the covariance",
    "histogram": "each image's histogram equalised",
}

MODELS: dict[str, str] = {
    "softmax": "softmax regression from zero, as in the TensorFlow tutorial",
    "softmax_nobias": "softmax regression without a bias",
    "mlp": "one hidden layer of 128 ReLU units",
    "mlp_nobias": "mlp whose first layer has no bias",
    "mlp_bn": "mlp with batch normalisation after each hidden layer",
    "mlp_glorot": "mlp with weights as Keras draws them (Glorot uniform)",
    "mlp_he": "mlp with weights for ReLU units (He normal)",
    "mlp_sigmoid": "mlp with sigmoid units and weights as Keras draws them",
    "cnn": "two small convolutions with pooling and a linear layer",
    "cnn_bn": "cnn with batch normalisation after each convolution",
    "deep_mnist": "the TensorFlow tutorial's convnet: 5x5x32, pool, 5x5x64, pool, 1024, dropout 0.5",
    "hosseini": "a convnet on negative images (Hosseini et al. 2017): 3x3x32, 3x3x64, pool, 200, 200",
}

SIZED_MODELS: dict[str, str] = {
    "mlp": "hidden units",
    "mlp_nobias": "hidden units",
    "mlp_bn": "hidden units",
    "mlp_glorot": "hidden units",
    "mlp_he": "hidden units",
    "mlp_sigmoid": "hidden units",
    "cnn": "channels",
    "cnn_bn": "channels",
}
"""Models whose name may end in sizes, a layer each: `mlp:1000`, `cnn:32,64`; and what these count."""

OPTIMIZERS: dict[str, str] = {
    name: f"optax.{name}"
    for name in [
        "sgd",
        "adam",
        "adamw",
        "adabelief",
        "adadelta",
        "adafactor",
        "adagrad",
        "adamax",
        "adamaxw",
        "adan",
        "amsgrad",
        "fromage",
        "lamb",
        "lars",
        "lbfgs",
        "lion",
        "nadam",
        "nadamw",
        "novograd",
        "optimistic_gradient_descent",
        "polyak_sgd",
        "radam",
        "rmsprop",
        "rprop",
        "sign_sgd",
        "sm3",
        "yogi",
    ]
}

LOSSES: dict[str, str] = {
    "cross_entropy": "softmax cross-entropy (optax.softmax_cross_entropy_with_integer_labels)",
    "poly_loss_cross_entropy": "softmax cross-entropy plus a multiple of 1 - p (optax)",
    "sigmoid_binary_cross_entropy": "one logistic loss for each class, summed (optax)",
    "sigmoid_focal_loss": "one focal loss for each class, summed (optax)",
    "multiclass_hinge_loss": "Crammer and Singer's hinge loss (optax)",
    "multiclass_perceptron_loss": "the largest logit minus that of the label (optax)",
    "multiclass_sparsemax_loss": "sparsemax loss (optax)",
    "squared_error": "squared distance of the logits from the one-hot label, summed over classes (optax)",
}

AUGMENTATIONS: dict[str, str] = {
    "none": "images as they are",
    "shift": "each image moved by up to 2 pixels along each axis, filled with 0",
    "flip": "each image mirrored left to right with probability 1/2",
    "crop": "each image padded with 4 pixels of 0 on every side and cut out at a random place",
}

KEEP = ("correct", "predictions", "confusion", "params")
"""What a run keeps of each trial where it is asked to."""

EXPERIMENTS: dict[str, str] = {
    "inversion": "MNIST with inverted grey values, softmax regression (Cross Validated 220164)",
    "negative-images": "convnets trained on normal and tested on negative images (Hosseini et al. 2017)",
    "unscaled-pixels": "Fashion-MNIST with pixels up to 255 against up to 1, an MLP with Adam (Cross Validated 372762)",
    "cookbook": "MNIST raw, scaled and inverted, a wide MLP with Adam (Neural Networks with Keras Cookbook)",
    "scaling-hurts": "MNIST scaled to 0 to 1 scoring below raw pixels, a sigmoid MLP with SGD (Python Deep Learning)",
    "seed-variance": "the variance of accuracy over seeds, from independent errors (Jordan 2023)",
}
"""Published experiments that can be replicated."""

CLAIMS: dict[str, str] = {
    "inverting-lowers-accuracy": "Inverting lowers accuracy",
    "zero-pixels-never-move": "Weights of dark pixels never move",
    "border-up-centre-down": "Inverting moves border weights more and central ones less",
    "same-functions": "Normal and inverted images allow the same functions",
    "training-finds-others": "Training finds different functions",
    "border-explains-it": "The border explains the loss",
    "inverting-hurts-a-convnet": "Inverting lowers a convnet's accuracy",
    "centring-removes-it": "Centring removes the loss",
    "batch-norm-removes-it": "Batch normalisation removes the loss",
    "batch-norm-needs-no-mean": "Batch normalisation needs no centred images",
    "learning-rate-explains-it": "The learning rate explains the loss",
    "matter-of-time": "Inverted images get as far, but later",
    "channel-mean-helps": "Subtracting channel means helps",
    "pixel-mean-helps": "Subtracting the mean image helps",
    "channel-as-good-as-pixel": "Channel means are as good as the mean image",
    "deviation-widens-rates": "Dividing by the deviation lets more learning rates work",
    "per-image-changing-light": "In changing light, normalise each image by itself",
    "per-image-steady-light": "In steady light, normalise by the dataset",
    "zeros-train-faster": "Images of zeros train faster",
}
"""Claims of the two discussions, each with its title; `experiments.claims` has what each says."""

DATASETS: dict[str, str] = {
    "mnist": "70,000 handwritten digits, bundled: 55,000 to train on (the tutorial's split), 10,000 to test on",
    "tfds:<name>": "any fixed-size single-label image dataset of tensorflow-datasets, such as tfds:fashion_mnist",
    "<file>.npz": "arrays x_train, y_train, x_test, y_test of your own",
}


def component_names(field: str, name: str) -> list[str]:
    """The names that `+` joins in the name of a preprocessing, each known.

    >>> component_names("arms", "inverted + pixel_mean")
    ['inverted', 'pixel_mean']
    """
    names = [component.strip() for component in name.split("+")]
    if "" in names:
        raise InputError(f"{field}: {name!r} has an empty part; give a name, or names joined by +")
    for component in names:
        if component not in PREPROCESSINGS:
            raise unknown(field, component, PREPROCESSINGS)
    return names


def model_sizes(field: str, name: str) -> tuple[str, tuple[int, ...]]:
    """The name of a model, and the sizes that may stand behind it.

    >>> model_sizes("model", "mlp:128,64"), model_sizes("model", "softmax")
    (('mlp', (128, 64)), ('softmax', ()))
    """
    base, colon, text = (part.strip() for part in name.partition(":"))
    if base not in MODELS:
        raise unknown(field, base, MODELS)
    if not colon:
        return base, ()
    if base not in SIZED_MODELS:
        raise InputError(f"{field}: {name!r} is not allowed; give {base!r}, which takes no sizes")
    sizes = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 0 < int(part) <= MAX_SIZE for part in sizes):
        raise InputError(
            f"{field}: {name!r} is not allowed; give whole numbers from 1 to {MAX_SIZE} after the colon, such as "
            f"{base}:32,64"
        )
    return base, tuple(int(part) for part in sizes)


def model_name(field: str, name: str) -> str:
    """The name of a model as results write it.

    >>> model_name("model", "mlp: 128, 064")
    'mlp:128,64'
    """
    base, sizes = model_sizes(field, name)
    return f"{base}:{','.join(map(str, sizes))}" if sizes else base


def describe_model(name: str) -> str | None:
    """A line on a model, sizes included; None for a name that is not here.

    >>> describe_model("mlp_nobias"), describe_model("cnn:4,6"), describe_model("mine")
    ('mlp whose first layer has no bias', 'cnn with 4, 6 channels', None)
    """
    base, _, sizes = name.partition(":")
    if not sizes:
        return MODELS.get(base)
    return f"{base} with {sizes.replace(',', ', ')} {SIZED_MODELS[base]}" if base in SIZED_MODELS else None
