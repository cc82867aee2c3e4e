"""What readers call a measure: its name in words, its unit and its decimals, in reports and in the model card alike."""

from __future__ import annotations

MEASURES: dict[str, tuple[str, str, int]] = {
    "dice": ("Dice", "", 3),
    "iou": ("IoU", "", 3),
    "hd95_mm": ("HD95", "mm", 1),
    "assd_mm": ("Mean surface distance", "mm", 2),
    "volume_error_ml": ("Volume error", "mL", 2),
    "lesion_f1": ("Lesion F1", "", 3),
    "lesion_precision": ("Lesion precision", "", 3),
    "lesion_recall": ("Lesion recall", "", 3),
    "ssim": ("SSIM", "", 3),
    "psnr_db": ("PSNR", "dB", 1),
    "mse": ("Mean squared error", "", 3),
    "mae": ("Mean absolute error", "", 3),
    "accuracy": ("Accuracy", "", 3),
    "exact_match": ("Every class right", "", 3),
    "balanced_accuracy": ("Balanced accuracy", "", 3),
    "error_rate": ("Error rate", "", 3),
    "macro_auc": ("Mean AUC", "", 3),
    "auc": ("AUC", "", 3),
    "sensitivity": ("Sensitivity", "", 3),
    "specificity": ("Specificity", "", 3),
    "precision": ("Precision", "", 3),
    "f1": ("F1", "", 3),
    "prevalence": ("Prevalence", "", 3),
    "sensitivity_at_specificity_90": ("Sensitivity at 90 % specificity", "", 3),
    "sensitivity_at_specificity_95": ("Sensitivity at 95 % specificity", "", 3),
    "log_loss": ("Log loss", "nat", 3),
    "brier": ("Brier score", "", 3),
    "ece": ("Calibration error (ECE)", "", 3),
    "adaptive_ece": ("Adaptive calibration error", "", 3),
    "ece_by_chance": ("ECE by chance alone", "", 3),
}
"""Measure → (name for readers, unit, decimals), in the order in which they are shown."""


def measure_name(measure: str) -> str:
    """Return the reader's name of a measure with its unit."""
    name, unit, _ = MEASURES.get(measure, (measure.replace("_", " "), "", 3))
    return f"{name} ({unit})" if unit else name
