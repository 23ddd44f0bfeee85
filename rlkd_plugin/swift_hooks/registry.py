"""The one registration table: everything that the plugin adds to ms-swift."""

from collections.abc import MutableMapping
from typing import Any

from swift.callbacks import callbacks_map
from swift.loss import loss_map
from swift.loss_scale import loss_scale_map
from swift.rewards import orms, prms, rm_plugins

from rlkd_plugin.gsrm import RlkdError
from rlkd_plugin.swift_hooks.data.loader import register_rows
from rlkd_plugin.swift_hooks.data.template import register_r1
from rlkd_plugin.swift_hooks.rewards.grpo_reward import RlkdGsrm
from rlkd_plugin.swift_hooks.rewards.metrics import RlkdMetrics
from rlkd_plugin.swift_hooks.rewards.reward_model import RlkdGsrmModel
from rlkd_plugin.swift_hooks.rewards.sampling_reward import RlkdGsrmSampling
from rlkd_plugin.swift_hooks.rewards.tag_count import RlkdTagCount
from rlkd_plugin.swift_hooks.snapshots import RlkdSnapshots
from rlkd_plugin.swift_hooks.structured.callback import RlkdStructured
from rlkd_plugin.swift_hooks.structured.checks import watch_host
from rlkd_plugin.swift_hooks.structured.loss import StructuredLoss
from rlkd_plugin.swift_hooks.structured.tokens import StructuredLossScale, give_tokenizer
from rlkd_plugin.swift_hooks.swift_servers import watch_swift_servers

TABLE: tuple[tuple[MutableMapping[str, Any], str, Any], ...] = (
    (orms, "rlkd_gsrm", RlkdGsrm),
    (orms, "rlkd_tag_count", RlkdTagCount),
    (prms, "rlkd_gsrm", RlkdGsrmSampling),
    (rm_plugins, "rlkd_gsrm", RlkdGsrmModel),
    (callbacks_map, "rlkd_metrics", RlkdMetrics),
    (callbacks_map, "rlkd_snapshots", RlkdSnapshots),
    (callbacks_map, "rlkd_structured", RlkdStructured),
    (loss_map, "rlkd_structured", StructuredLoss),
    (loss_scale_map, "rlkd_structured", StructuredLossScale),
)


def register_all() -> None:
    """Register everything with ms-swift; a second call changes nothing.

    Raises:
        RlkdError: if one of our names is taken by another object.
    """
    for mapping, name, entry in TABLE:
        found = mapping.setdefault(name, entry)
        if found is not entry:
            raise RlkdError(
                f"ms-swift already has another object named {name!r}: {found!r}, not {entry!r}; "
                "remove the plugin that registers it"
            )
    register_rows()
    register_r1()
    give_tokenizer()
    watch_host()
    watch_swift_servers()
