"""A chat model of Hugging Face on this machine, which answers greedily."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from frozen.models._base import BackboneError
from frozen.models._transformers_files import library


class ChatModel:
    """A causal language model with a chat template.

    Weights have the type of their files. Where the package accelerate is installed, they are spread over the GPUs;
    else they lie on the first one, or on the processor.

    Args:
        source: repository or folder.

    Raises:
        BackboneError: transformers is not installed, the model cannot be had, or it has no chat template.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        is_spread = torch.cuda.is_available() and importlib.util.find_spec("accelerate") is not None
        with library(source) as transformers:
            try:
                self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source)
                model: Any = transformers.AutoModelForCausalLM.from_pretrained(
                    source, dtype="auto", **({"device_map": "auto"} if is_spread else {})
                )
            except (OSError, ValueError) as error:
                raise BackboneError(f"{source}: {' '.join(str(error).split())[:200]}") from error
        if not self._tokenizer.chat_template:
            raise BackboneError(f"{source} has no chat template; name a model that was tuned to follow instructions")
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = (model if is_spread else model.to(device)).eval()

    @torch.inference_mode()
    def answer(self, messages: Sequence[Mapping[str, str]], most_tokens: int) -> str:
        """The likeliest continuation, token by token.

        Args:
            messages: the conversation, each with its role and content; the last one is answered.
            most_tokens: where the answer is cut.
        """
        given: Any = self._tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self._model.device)
        end = (
            self._tokenizer.pad_token_id if self._tokenizer.pad_token_id is not None else self._tokenizer.eos_token_id
        )
        # settings of sampling that the model's files may bring along mean nothing here
        plain = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None, "pad_token_id": end}
        found = self._model.generate(**given, max_new_tokens=most_tokens, **plain)
        return self._tokenizer.decode(found[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
