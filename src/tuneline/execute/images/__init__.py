"""What a container's image means on this machine: an interpreter, a container engine, a command of the host,
or a refusal before anything of the run starts."""

from tuneline.execute.images.contract import Call, Image, Images, Mount, Program, check_images
from tuneline.execute.images.machine import MachineImages, RefusedImage, allowed
from tuneline.execute.images.own import OwnImage

__all__ = [
    "Call",
    "Image",
    "Images",
    "MachineImages",
    "Mount",
    "OwnImage",
    "Program",
    "RefusedImage",
    "allowed",
    "check_images",
]
