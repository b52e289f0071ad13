"""The noise schedule: alpha and sigma at a log-SNR, under the variance-preserving convention."""

from __future__ import annotations

import torch
from torch import Tensor


def alpha_sigma(log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma, shaped like `log_snr`: alpha² = sigmoid(λ), sigma² = sigmoid(-λ).

    References
    ----------
    Karczewski et al., ICLR 2026 (arXiv 2505.17517), Section 2; Kingma et al., NeurIPS 2021, Eq. 5.
    """
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()
