"""Which parts beside its trunk a backbone has, told without its weights."""

from __future__ import annotations

from frozen.models._config import BackboneConfig


def part_names(config: BackboneConfig) -> tuple[str, ...]:
    """Head (a classifier), text (a text tower) and decoder (of captions), as far as known without weights.

    Of shipped models the file's header says it, of timm's whether their weights come with a classifier; texts are
    asked for only where `joint_refusal` needs no weights to answer.
    """
    if config.library == "shipped":
        from frozen.models._shipped import shipped_header

        header = shipped_header(config.architecture)
        return tuple(part for part, key in _SHIPPED_KEYS.items() if key in header)
    if config.library == "timm":
        from frozen.models._torchvision_ops import declare_missing_operators

        declare_missing_operators()
        import timm

        found = timm.get_pretrained_cfg(config.architecture)
        head = ("head",) if found is not None and found.num_classes else ()
        return (*head, *_text(config))
    if config.library == "open_clip":
        from frozen.models._open_clip_models import describe_open_clip

        decoder = ("decoder",) if describe_open_clip(config).caption_context else ()
        return (*_text(config), *decoder)
    return _text(config) if config.library == "hf" else ()


def _text(config: BackboneConfig) -> tuple[str, ...]:
    from frozen.models.joint import joint_refusal

    return () if joint_refusal(config) else ("text",)


_SHIPPED_KEYS = {"head": "classes", "text": "text", "decoder": "decoder"}
"""What a header has where the model has a part."""
