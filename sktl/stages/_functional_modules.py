"""Modules for the operations that networks write into their forward function, so that stages can hold them."""

import math

import torch
from torch import nn

__all__ = [
    "ChannelsFirst",
    "ChannelsLast",
    "ClassToken",
    "FixedImageSize",
    "ImageNetToInception",
    "MapsOfTokens",
    "MeanToken",
    "TokenStem",
    "TokensOfMaps",
]


class ChannelsFirst(nn.Module):
    """(n_images, height, width, n_channels) to (n_images, n_channels, height, width)."""

    def forward(self, maps):
        return maps.permute(0, 3, 1, 2)


class ChannelsLast(nn.Module):
    """(n_images, n_channels, height, width) to (n_images, height, width, n_channels)."""

    def forward(self, maps):
        return maps.permute(0, 2, 3, 1)


class ClassToken(nn.Module):
    """(n_images, n_tokens, n_channels) to the class token, (n_images, n_channels)."""

    def forward(self, tokens):
        return tokens[:, 0]


class MeanToken(nn.Module):
    """(n_images, n_tokens, n_channels) to the mean of all tokens, (n_images, n_channels)."""

    def forward(self, tokens):
        return tokens.mean(1)


class MapsOfTokens(nn.Module):
    """Tokens of a square of places, (n_images, n_tokens, n_channels), to (n_images, n_channels, height, width)."""

    def forward(self, tokens):
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).unflatten(2, (side, side))


class TokensOfMaps(nn.Module):
    """(n_images, n_channels, height, width) to (n_images, height * width, n_channels)."""

    def forward(self, maps):
        return maps.flatten(2).transpose(1, 2)


class FixedImageSize(nn.Module):
    """Let pictures of one size pass, and say so for any other."""

    def __init__(self, image_size):
        super().__init__()
        self.image_size = image_size

    def forward(self, images):
        height, width = images.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(
                f"image_size must be {self.image_size} for this network, whose grid of patches is fixed. Got "
                f"{height} x {width} pixels instead. Leave image_size=None, or choose a network that takes any "
                "size, such as a resnet."
            )
        return images

    def extra_repr(self):
        return str(self.image_size)


class ImageNetToInception(nn.Module):
    """From ImageNet's mean and standard deviation to those that Inception's first authors trained with, 0.5 each."""

    def forward(self, images):
        # One channel after the other as torchvision does, so that the last bits agree.
        red = images[:, 0:1] * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
        green = images[:, 1:2] * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
        blue = images[:, 2:3] * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
        return torch.cat((red, green, blue), 1)


class TokenStem(nn.Module):
    """Patch embedding, class token and position embedding of a vision transformer, all of them its own."""

    def __init__(self, network):
        super().__init__()
        self.check_size = FixedImageSize(network.image_size)
        self.conv_proj = network.conv_proj
        self.class_token = network.class_token
        self.pos_embedding = network.encoder.pos_embedding
        self.dropout = network.encoder.dropout

    def forward(self, images):
        patches = self.conv_proj(self.check_size(images)).flatten(2).transpose(1, 2)
        class_tokens = self.class_token.expand(images.shape[0], -1, -1)
        return self.dropout(torch.cat([class_tokens, patches], dim=1) + self.pos_embedding)
