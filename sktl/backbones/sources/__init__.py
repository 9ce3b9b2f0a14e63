"""Where networks come from: one file for each source, and one line here, asked in this order."""
# ruff: noqa: F401

import sktl.backbones.sources._bundled
import sktl.backbones.sources._function
import sktl.backbones.sources._hugging_face
import sktl.backbones.sources._imagenet_wheel
import sktl.backbones.sources._module
import sktl.backbones.sources._timm
import sktl.backbones.sources._torchvision
