"""What a frozen pretrained network makes of images, as image sets of their own."""
