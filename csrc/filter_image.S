/* filter_image.S - the built-in seccomp filter, as data inside nsbox.so */
	.section .rodata
	.balign 16
	.globl nb_filter_image
	.hidden nb_filter_image
nb_filter_image:
	.incbin "filter.bin"
	.globl nb_filter_image_end
	.hidden nb_filter_image_end
nb_filter_image_end:
	.section .note.GNU-stack, "", %progbits
