"""What in a picture made a network answer as it did: every method by its name, all of one signature."""

from flowerlib.gradients import grad_cam, grad_cam_plus_plus, integrated_gradients, saliency, smooth_grad
from flowerlib.lime import lime
from flowerlib.maps import Method
from flowerlib.perturbation import occlusion, rise

METHODS: dict[str, Method] = {
    "saliency": saliency,
    "smooth_grad": smooth_grad,
    "integrated_gradients": integrated_gradients,
    "grad_cam": grad_cam,
    "grad_cam_plus_plus": grad_cam_plus_plus,
    "occlusion": occlusion,
    "rise": rise,
    "lime": lime,
}

TITLES = {  # as the papers write them; others as they are
    "smooth_grad": "SmoothGrad",
    "integrated_gradients": "integrated gradients",
    "grad_cam": "Grad-CAM",
    "grad_cam_plus_plus": "Grad-CAM++",
    "rise": "RISE",
    "lime": "LIME",
}


def title(name: str) -> str:
    """A method's or a baseline's name for people."""
    return TITLES.get(name, name)
