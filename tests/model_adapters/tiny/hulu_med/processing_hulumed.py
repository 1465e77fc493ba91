# ruff: noqa: RUF012 (the library looks for lists and dictionaries)
"""One conversation, or one text with its pictures, to the inputs of a tiny Hulu-Med.

As in Hulu-Med's own code a call takes one prompt: there is no padding, and pictures in a list inside a list
are the frames of a video.
"""

import re

from transformers import AutoTokenizer
from transformers.image_processing_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .image_processing_hulumed import HulumedImageProcessor

DEFAULT_IMAGE_TOKEN = "<image>"


class HulumedProcessor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "HulumedImageProcessor"
    tokenizer_class = ("Qwen2Tokenizer", "Qwen2TokenizerFast")
    valid_kwargs = ["chat_template", "image_merge_size", "video_merge_size"]

    def __init__(
        self, image_processor=None, tokenizer=None, chat_template=None, image_merge_size=1, video_merge_size=2
    ):
        self.image_processor, self.tokenizer = image_processor, tokenizer
        self.chat_template = chat_template or tokenizer.chat_template
        self.image_merge_size, self.video_merge_size = image_merge_size, video_merge_size
        self.image_token_id = tokenizer.convert_tokens_to_ids(DEFAULT_IMAGE_TOKEN)
        self.eos_token_id = tokenizer.eos_token_id

    @classmethod
    def _get_arguments_from_pretrained(cls, location, *_, **kwargs):
        return [c.from_pretrained(location, **kwargs) for c in (HulumedImageProcessor, AutoTokenizer)]

    def __call__(self, text=None, conversation=None, images=None, return_tensors=None, **kwargs):
        if conversation is not None:
            template = {"add_generation_prompt": kwargs.pop("add_generation_prompt", False)}
            kwargs.pop("add_system_prompt", None)
            text = self.apply_chat_template(conversation, **template)
        seen = self.process_images(images, return_tensors=return_tensors) if images else {}
        read = self.process_text(text, seen, return_tensors=return_tensors, **kwargs)
        return BatchFeature({**read, **seen})

    def process_images(self, images, return_tensors=None):
        if any(isinstance(image, list | tuple) for image in images):
            raise NotImplementedError("videos are left out of the tiny model")
        seen = self.image_processor(
            images, merge_size=[self.image_merge_size] * len(images), return_tensors=return_tensors
        )
        return {**seen, "modals": ["image"] * len(images)}

    def process_text(self, text, image_inputs, **kwargs):
        sizes = zip(image_inputs.get("grid_sizes", ()), image_inputs.get("merge_sizes", ()), strict=True)
        left = iter([int(grid.prod()) // int(merge) ** 2 for grid, merge in sizes])
        text = re.sub(re.escape(DEFAULT_IMAGE_TOKEN), lambda found: found[0] * next(left), text)
        assert next(left, None) is None, "more images than places for them in the text"
        return self.tokenizer(text, **kwargs)

    def apply_chat_template(
        self, conversation, chat_template=None, tokenize=False, image_token=DEFAULT_IMAGE_TOKEN, **kwargs
    ):
        return self.tokenizer.apply_chat_template(
            conversation,
            chat_template=chat_template or self.chat_template,
            tokenize=tokenize,
            image_token=image_token,
            **kwargs,
        )
