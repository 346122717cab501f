/* init_image.S - the bytes of nsbox-init, as data inside nsbox.so */
	.section .rodata
	.balign 16
	.globl nb_init_image
	.hidden nb_init_image
nb_init_image:
	.incbin "nsbox-init"
	.globl nb_init_image_end
	.hidden nb_init_image_end
nb_init_image_end:
	.section .note.GNU-stack, "", %progbits
