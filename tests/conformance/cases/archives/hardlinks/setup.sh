export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
echo 1 >f && ln f g && mkdir s && ln f s/h && tar -cf a.tar f g s && rm -r f g s