"""Importing this module registers all parts of im-bench that a config of MMSegmentation may name.

Configs do so by ``custom_imports``, so that they also work with other programs than im-bench's.
"""

import im_bench.data.semi
import im_bench.data.tickets
import im_bench.data.transforms
import im_bench.evaluation.metrics
import im_bench.models.deeplabv3plus
import im_bench.models.dinov2
import im_bench.models.dpt
import im_bench.models.preprocessor
import im_bench.models.pretrained
import im_bench.models.resnet
import im_bench.models.segmentor
import im_bench.models.unet
import im_bench.models.windowed
import im_bench.plugin
import im_bench.semi.preprocessor
import im_bench.semi.registered_losses
import im_bench.training.autocast
import im_bench.training.runtime_info
import im_bench.training.semi_supervised
import im_bench.training.semi_supervised_hook  # noqa: F401
